# Rails, app/controllers/tickets_controller.rb
class TicketsController < ApplicationController
  def close
    key = Ticket.transaction do
      Ticket.where(team: params[:team]).update_all(closed: true)
      Ticket.connection.select_value("SELECT snorky_key()")
    end
    response.headers["X-Snorky-Keys"] = key
    head :no_content
  end
end
